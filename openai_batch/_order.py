"""What a user wants done, and the hash that makes the same order the same job."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ._profile import Provider, normal_url

if TYPE_CHECKING:
    from ._inputs import Checked
    from ._spared import SubmitPlan


@dataclass(frozen=True, slots=True)
class Earlier:
    """The earlier jobs that share rows with an order, by their numbers; `grown` are those all of whose rows it has.

    `newest` is the newest job of the same input or output that was there when it was looked.
    """

    used: frozenset[int] = frozenset()
    grown: frozenset[int] = frozenset()
    newest: int | None = None


@dataclass(frozen=True)
class Order:
    """What a user wants done: a checked input on a provider, under a name and with metadata if given.

    `origin` tells what the input was named. `dedup` says whether identical requests are sent once, where a user has
    said; `sparing` what came of that, and of what the `earlier` jobs have answered (`_reuse`).
    """

    checked: Checked
    provider: Provider
    window: str | None = None
    name: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    origin: str | None = None
    dedup: bool | None = None
    sparing: SubmitPlan | None = None
    earlier: Earlier = field(default_factory=Earlier)

    @property
    def identity(self) -> str:
        """The hash that makes the same order the same job: where it runs, as what, and every byte of the input."""
        facts = [
            normal_url(str(self.provider.base_url)),
            self.checked.report.endpoint,
            self.window or self.provider.completion_window,
            sorted(self.metadata.items()),
            self.checked.sha256,
            *([] if self.dedup is None else ["once" if self.dedup else "each"]),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
