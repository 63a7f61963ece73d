"""The endpoints of the picture: one of each kind that the page has to show."""

from __future__ import annotations

from torpor.api.conditions import Reason

from .endpoints import Story, Wake

ASLEEP = "no request for 2m; the next one wakes it"
SHOP = tuple(Wake(hours, minutes, 0.7) for hours, minutes in ((21.4, 50), (19.1, 95), (14.2, 40), (9.6, 150), (4.3, 70)))
OFFICE = tuple(Wake(hours, 34, 0.45) for hours in (22.6, 20.2, 15.8, 12.1, 8.4, 5.9, 3.2))
NIGHT = (Wake(19.5, 240, 0.92),)

STORIES = (
    Story("shop", "llama-8b", Reason.SERVING, "3 requests in flight on 2 replicas", replicas="2/3",
          wakes=(*SHOP, Wake(1.7, None, 0.8), Wake(0.6, None, 0.55)), tokens=(31_480_112, 6_204_377), idle_s=0.4),
    Story("shop", "qwen-32b", Reason.IDLE, ASLEEP, "h100", "6.880", gpus=2, replicas="0/2", days=9,
          wakes=OFFICE[1:5], tokens=(12_904_551, 3_310_020), idle_s=8 * 3600 - 900),
    Story("search", "bge-m3", Reason.KEEPING_WARM, "idle 22 s of 120 s", "l4", "0.8048", replicas="1/2", days=12,
          wakes=(*OFFICE, Wake(0.35, None, 0.5)), tokens=(98_220_415, 0), idle_s=22, sleeps_s=98),
    Story("search", "gemma-27b", Reason.WARMING_UP, "1 request waits; weights 43 %, 1.2 GB/s, 9 s left", "l40s",
          wakes=(*OFFICE[2:4], Wake(0.008, None)), tokens=(2_210_334, 880_120), idle_s=6 * 3600),
    Story("research", "mixtral-8x22b", Reason.FAILED,
          "the weights need 316.2 GiB of GPU memory; the largest allowed class, 2 × h100, has 143.3 GiB", "h100", "6.880",
          ready="False", ready_reason=Reason.DOES_NOT_FIT, days=1.2),
    Story("research", "phi-4", Reason.IDLE, "asleep since it was made: nobody has asked yet", "a10g", "1.006", days=0.4),
    Story("research", "nightly-eval", Reason.IDLE, ASLEEP, "a100-80", "3.4309", gpus=4, days=30,
          wakes=NIGHT, tokens=(41_002_118, 22_871_560), idle_s=15.4 * 3600),
    Story("paris", "mistral-small", Reason.SERVING, "1 request in flight on 1 replica", "l40s-fr", "1.10", "EUR",
          replicas="1/2", days=6, wakes=(*OFFICE[:4], Wake(0.9, None, 0.35)), tokens=(8_118_220, 1_904_233), idle_s=0.2),
    Story("paris", "codestral", Reason.IDLE, ASLEEP, "l40s-fr", "1.10", "EUR", days=6,
          wakes=OFFICE[3:6], tokens=(3_440_980, 1_230_441), idle_s=5.3 * 3600),
    Story("lab", "prototype", Reason.SERVING, "2 requests in flight on 1 replica", "b300", None, replicas="1/1", days=0.5,
          wakes=(Wake(5.2, 130, 0.5), Wake(2.1, None, 0.9)), tokens=(1_210_200, 640_310), idle_s=1),
    Story("lab", "flaky-canary", Reason.DRAINING, "flaky-canary-5 ends; the GPU is given back when its last container has",
          "l4", "0.8048", replicas="0/6", days=0.2,
          wakes=tuple(Wake(4.6, 270, 0.2) for _ in range(3)), tokens=(90_440, 20_100), idle_s=130),
)  # fmt: skip
