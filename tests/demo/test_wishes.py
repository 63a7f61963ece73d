"""What the command line and the environment must give, and the sentence for what is missing."""

import io
import re

import pytest

from dev.cluster import HarnessError
from dev.demo.__main__ import read_wish
from dev.demo.place import Wish, read_bucket, read_images
from dev.demo.telling import Narrator
from dev.install import Images
from dev.install.chart import merge
from dev.install.installed import create_key, read_key

GIVEN = {
    "S3_ENDPOINT": "http://192.0.2.7:9000",
    "AWS_ACCESS_KEY_ID": "me",
    "AWS_SECRET_ACCESS_KEY": "hush",
}


def test_without_words_the_demo_is_the_harness_with_the_stand_in_and_cleans_up() -> None:
    assert read_wish([]) == Wish(keep=False, engine="standin", context=None, image=None)


def test_words_of_the_makefile_are_understood() -> None:
    words = ["--keep", "--engine", "vllm", "--context", "kind-x", "--image", "r/torpor:1"]
    assert read_wish(words) == Wish(True, "vllm", "kind-x", "r/torpor:1")


def test_a_foreign_cluster_needs_an_image_of_torpor() -> None:
    with pytest.raises(HarnessError, match="needs IMAGE="):
        read_images(Wish(context="kind-x"), {"ENGINE_IMAGE": "r/engine:1"})


def test_a_foreign_cluster_needs_an_image_of_the_engine() -> None:
    with pytest.raises(HarnessError, match=re.escape("ENGINE_IMAGE=…")):
        read_images(Wish(context="kind-x", image="r/torpor:1"), {})


def test_the_real_engine_is_refused_on_a_foreign_cluster() -> None:
    wish = Wish(context="kind-x", image="r/torpor:1", engine="vllm")
    with pytest.raises(HarnessError, match="ENGINE=vllm is for the harness"):
        read_images(wish, {"ENGINE_IMAGE": "r/engine:1"})


@pytest.mark.parametrize("missing", GIVEN)
def test_a_foreign_cluster_needs_an_s3_server_and_the_sentence_names_what_is_missing(
    missing: str,
) -> None:
    with pytest.raises(HarnessError, match=f"needs {missing}:"):
        read_bucket({name: value for name, value in GIVEN.items() if name != missing})


def test_the_region_has_a_default_and_can_be_named() -> None:
    assert read_bucket(GIVEN).region == "us-east-1"
    assert read_bucket(GIVEN | {"S3_REGION": "eu-west-1"}).region == "eu-west-1"


def test_an_image_becomes_values_of_the_chart_even_with_a_port_in_its_registry() -> None:
    values = Images("registry.example.com:5000/torpor:0.1.0", "r/engine:1", "Never").values()
    assert values == {
        "image": {
            "repository": "registry.example.com:5000/torpor",
            "tag": "0.1.0",
            "pullPolicy": "Never",
        },
        "engine": {"image": "r/engine:1"},
    }


@pytest.mark.parametrize("image", ["torpor", "registry.example.com:5000/torpor", "r/t@sha256:00"])
def test_an_image_without_a_tag_is_refused(image: str) -> None:
    with pytest.raises(HarnessError, match="needs a tag"):
        Images(image, "r/engine:1").values()


def test_values_are_laid_over_member_by_member_and_lists_whole() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge(base, {"a": {"c": [3]}, "d": {"e": 2}}) == {
        "a": {"b": 1, "c": [3]},
        "d": {"e": 2},
    }


def test_a_key_made_by_torpor_is_read_with_its_entry() -> None:
    key, entry = create_key("shop")
    assert len(key) > 30
    assert entry["name"] == "shop"
    assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])


def test_anything_else_is_not_taken_for_a_key() -> None:
    with pytest.raises(HarnessError, match="printed no key"):
        read_key("torpor: unknown command\n")


def test_the_story_is_told_with_numbered_chapters_and_indented_output() -> None:
    out = io.StringIO()
    narrator = Narrator(out)
    narrator.chapter("an endpoint")
    narrator.show("kubectl get ie", "NAME\nmarmot\n")
    narrator.chapter("asleep")
    lines = out.getvalue().splitlines()
    assert lines[1].startswith("── 1 · an endpoint ─")
    assert [line.strip() for line in lines[2:5]] == ["$ kubectl get ie", "NAME", "marmot"]
    assert lines[6].startswith("── 2 · asleep ─")
