"""Make a tiny random Llama that real vLLM serves: a checkpoint in the usual files, in a second.

Runs inside vLLM's own environment (it needs torch, transformers and tokenizers), as
`python tiny_llama.py <folder>`. The same versions give the same bytes: the seed is fixed and
nothing else is random.

The weights are noise, so the text is noise too; to keep it readable, the rows of the output layer
that belong to single bytes and to special tokens are zero: greedy decoding then picks among the
tokens that training merged out of whole syllables and words.
"""

import sys
from pathlib import Path

SEED = 20261123
VOCABULARY = 512
CONTEXT_TOKENS = 4096

TEXT = """
A cat sleeps on the warm stone until the sun has gone, and then it walks home without a word.
Bears sleep through the winter; their hearts beat slowly, and they wake when the river does.
Nothing is lost by waiting if whoever waits is told how long it will take and why it takes time.
The engine starts, reads its weights, answers the first question, and rests again when it is done.
Machines that rest cost nothing. Machines that wait cost as much as machines that work.
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

SPECIAL = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]


def train_tokenizer(folder: Path) -> list[int]:
    """Save a byte-level BPE tokenizer to `folder`; return the ids the model must never prefer."""
    from tokenizers import (  # type: ignore[import-not-found]
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast  # type: ignore[import-not-found]

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        min_frequency=1,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|end|>",
        model_max_length=CONTEXT_TOKENS,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(folder)
    silent = {*alphabet, *SPECIAL}
    return sorted(number for token, number in tokenizer.get_vocab().items() if token in silent)


def make(folder: Path) -> None:
    """Write config, weights (safetensors) and tokenizer to `folder`."""
    import torch  # type: ignore[import-not-found]
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    silent = train_tokenizer(folder)
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT_TOKENS,
            tie_word_embeddings=False,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    with torch.no_grad():
        model.lm_head.weight[silent] = 0.0
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=1, pad_token_id=1)
    model.to(torch.bfloat16).save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
