"""The page of `obatch report --html` in a real browser: light and dark, search, and hostile answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import Page, look

from openai_batch.costs.receipt import ModelCost, Receipt
from openai_batch.report.report import Report, ReportPart, ReportRow
from openai_batch.results.result import Result
from openai_batch.results.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

HOSTILE = (
    "</script><script>window.owned=1</script>",
    '<img src=x onerror="window.owned=1">',
    "<!--<script>",
    "\u202eevil\u202c \x1b[2J\x00\u2028",
    '"><svg onload="window.owned=1">',
    "{{ 7 * 7 }} {% raw %}",
    "\ud800 half",
    "long " * 50_000,
    "<style>body{display:none}</style><base href='http://evil.invalid'>",
    '<meta http-equiv="refresh" content="0;url=http://evil.invalid">',
)


def hostile_report() -> Report:
    """Return a report with hostile text in every field that can hold text."""
    attack = "".join(text[:100] for text in HOSTILE)
    part = ReportPart(1, attack, attack, 10, 5, 5, False, 1_000.0, 5_000.0)
    tally = Tally()
    receipt = Receipt((ModelCost(attack, 1, 0, 1, 0, 1, 0, None, None, None),), whole=True)
    times = (900.0, 1_000.0, 5_000.0)
    made = Report(1, attack, attack, attack, attack, attack, *times, {}, [part], receipt, [attack], tally)
    for number, text in enumerate(HOSTILE):
        failed = number % 2
        message = {"message": {"content": text}, "finish_reason": text}
        body: dict[str, Any] = (
            {"error": {"message": text}} if failed else {"choices": [message], "model": text, "created": 2000}
        )
        body |= {"usage": {"prompt_tokens": number, "completion_tokens": 10 * number}}
        line = {
            "custom_id": f"r{number} {text[:100]}",
            "response": {"status_code": 500 if failed else 200, "body": body},
        }
        result = Result.of(json.dumps(line).encode())
        tally.count(result.verdict, result.custom_id)
        made.statistics.add(result, (1_000.0, 5_000.0))
        made.rows.append(ReportRow(result.custom_id, str(result.outcome), text[:300], result.summary[:1000]))
    return made


def seen(tmp_path: Path, see: Callable[[Page], Awaitable[Any]], *, dark: bool = False) -> Any:
    """Open the page of the hostile report, and return the result of `see`."""
    return look(hostile_report().to_html(tmp_path / "report.html"), tmp_path / "profile", see, dark=dark)


def test_nothing_in_an_answer_runs_or_loads(tmp_path: Path) -> None:
    """HTML and scripts in answers are shown as text, and are not run."""

    async def see(page: Page) -> Any:
        await asyncio.sleep(0.5)
        return await page.value(
            "[window.owned, document.title, document.querySelectorAll('img, svg, base').length,"
            " document.querySelector('#answers tbody').innerText, getComputedStyle(document.body).display]"
        )

    owned, title, elements, shown, display = seen(tmp_path, see)
    assert (owned, elements, display) == (None, 0, "block")
    assert title.startswith("Job 1")
    for text in (HOSTILE[0], HOSTILE[1], HOSTILE[5], r"\u202eevil\u202c \x1b[2J\x00\u2028"):
        assert text in shown


def test_answers_are_searched_and_filtered(tmp_path: Path) -> None:
    """The search field and the list filter the answers, and the number of matches is shown."""

    async def see(page: Page) -> Any:
        found = []
        for field, text in (("search", "ONERROR"), ("search", ""), ("outcome", "error"), ("outcome", "missing")):
            await page.value(
                f"{{ const field = document.getElementById('{field}'); field.value = '{text}';"
                " field.dispatchEvent(new Event('input')); }"
            )
            found.append(
                await page.value(
                    "document.getElementById('found').textContent + ': '"
                    " + document.querySelectorAll('#answers tbody tr').length"
                )
            )
        return found

    assert seen(tmp_path, see) == ["1 of 10: 1", "10 of 10: 10", "5 of 10: 5", "0 of 10: 0"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_charts_are_drawn_in_the_colours_of_the_system(tmp_path: Path, *, dark: bool) -> None:
    """Each chart is drawn, and the page follows light and dark mode, also when it changes."""

    async def see(page: Page) -> Any:
        marked = await page.value(
            "[...document.querySelectorAll('canvas')].map((each) => [each.id, each.getContext('2d')"
            ".getImageData(0, 0, each.width, each.height).data.some((value) => value)])"
        )
        page_color = "getComputedStyle(document.body).backgroundColor"
        before = await page.value(page_color)
        await page.prefer("light" if dark else "dark")
        bar = await page.value("Chart.getChart('prompt_tokens').data.datasets[0].backgroundColor")
        return marked, before, await page.value(page_color), bar

    marked, before, after, bar = seen(tmp_path, see, dark=dark)
    assert dict(marked) == dict.fromkeys(
        ("outcomes", "prompt_tokens", "completion_tokens", "characters", "answered_after_seconds", "timeline"), True
    )
    colors = ["rgb(255, 255, 255)", "rgb(22, 24, 28)"]
    assert [before, after] == (colors[::-1] if dark else colors)
    assert bar == ("#2f6fbf" if dark else "#6aa5ec")
