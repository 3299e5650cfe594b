"""The built-in example: label short reviews, with a JSON schema. A small model can do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch.requests.build import request_line

if TYPE_CHECKING:
    from typing import BinaryIO

REVIEWS = (
    "The soup was cold and nobody came to take our order.",
    "Lovely little hotel, spotless rooms and the kindest staff.",
    "The zip broke on the second day. I want my money back.",
    "Best headphones I have owned. The sound is wonderful.",
    "Delivery took three weeks and the box was crushed.",
    "My children adore this game, we play it every evening.",
    "The app crashes whenever I open a photo. Useless.",
    "Fresh bread, great coffee, and a view over the harbour.",
    "The battery dies after an hour. Very disappointing.",
    "Clear instructions, and it worked at once. I am delighted.",
    "Rude driver, dirty car, and he overcharged me.",
    "A warm and funny film. I smiled from start to end.",
)
"""The reviews, written for this example."""

SYSTEM = "Classify the sentiment of the review as positive or negative."

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "label",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
            "required": ["sentiment"],
            "additionalProperties": False,
        },
    },
}


def write_example(target: BinaryIO, model: str, url: str = "/v1/chat/completions") -> int:
    """Write the example's requests for `model`, at the endpoint `url`, and return their number."""
    for number, review in enumerate(REVIEWS, 1):
        body = {
            "model": model,
            "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": review}],
            "response_format": SCHEMA,
            "temperature": 0,
            "max_completion_tokens": 40,
        }
        target.write(request_line(f"review-{number}", url, body))
    return len(REVIEWS)
