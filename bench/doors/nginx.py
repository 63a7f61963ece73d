"""nginx as the engine: answers at once, so that what is measured is the gateway."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dev.cluster import HarnessError
from dev.ports import free_port

ANSWER = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1795650000,"model":"llama","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Hello! How can I help you today?"},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":11,"completion_tokens":9,"total_tokens":20}}'
)
MODELS = '{"object":"list","data":[{"id":"llama","object":"model"},{"id":"@shop/llama","object":"model"}]}'
_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /health {{ return 200; }}
    location = /v1/models {{ return 200 '{models}'; }}
    location = /v1/chat/completions {{ return 200 '{answer}'; }}
  }}
}}
"""


@asynccontextmanager
async def running_nginx(core: int) -> AsyncIterator[int]:
    """Run nginx with one worker on *core* while the block runs; gives its port.

    Raises:
        HarnessError: it does not listen.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, port=port, answer=ANSWER, models=MODELS))
        Path(folder).chmod(0o755)  # its worker is another user
        command = ["taskset", "-c", str(core), "nginx", "-c", str(config), "-p", folder]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            await _listening(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(10)


async def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise HarnessError(f"nginx ended with {process.returncode}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise HarnessError("nginx does not listen")
