"""A stand-in for vLLM: its arguments, its HTTP, its metrics, its way to start and to stop; no GPU.

What it says was taken from vLLM 0.32.0 by running it (`dev/vllm/README.md`). It needs nothing but
Python's standard library, so that it is healthy a few hundredths of a second after its start and
a test measures torpor, not imports.

`python3 -m standin <model folder> --served-model-name name …`; switches in `switches.py`.
"""
