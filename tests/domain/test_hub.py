"""Which files of a repository are copied, and where the copies lie."""

from torpor.domain.hub import HubFile, needed_files, resolved_sources


def test_of_two_forms_of_the_weights_the_safetensors_are_kept() -> None:
    def kept(*keys: str) -> set[str]:
        return {file.key for file in needed_files(HubFile(key, 1, "blob:x") for key in keys)}

    old = {"config.json", "pytorch_model.bin", "vocab.txt"}
    assert kept(*old, "tf_model.h5", "training_args.bin", "optimizer.pt") == old
    new = {"config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"}
    assert kept(*new, "pytorch_model.bin", "pytorch_model.bin.index.json", "q4.gguf") == new
    assert kept(*new, "consolidated.safetensors", "params.json", "tekken.json") == {
        *new,
        "tekken.json",
    }
    mistral = {"config.json", "consolidated.safetensors", "params.json"}
    assert kept(*mistral) == mistral
    adapter = {"adapter_config.json", "adapter_model.safetensors"}
    assert (
        kept(*adapter, "adapter_model.bin", "checkpoint-500/adapter_model.safetensors") == adapter
    )
    remote_code = {
        "config.json",
        "model.safetensors",
        "modeling_x.py",
        "1_Pooling/config.json",
        "LICENSE",
    }
    assert kept(*remote_code, "images/a.png", ".cache/x") == remote_code


def test_the_controller_can_tell_where_each_part_lies() -> None:
    commit, pinned = "a" * 40, "b" * 40
    asked = ["hf://acme/big", "s3://b/adapters/legal/", f"hf://acme/lora@{pinned}"]
    result = {"commits": [commit, "", ""]}
    assert resolved_sources(asked, result, "s3://mirror/hub/") == (
        f"s3://mirror/hub/acme/big/{commit}/",
        "s3://b/adapters/legal/",
        f"s3://mirror/hub/acme/lora/{pinned}/",
    )
    assert resolved_sources(["s3://b/x/"], {}, "") == ("s3://b/x/",)
