"""Providers by name, by model and by base URL: the public names of 0.3.4, and the user's own profiles.

from openai_batch.providers import get_provider_by_name

provider = get_provider_by_name("parasail")
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ._profile import Provider, all_providers, is_openai_model, openai_provider, parasail_provider
from .errors import UnknownProviderError, UsageError

if TYPE_CHECKING:
    import argparse

__all__ = [
    "Provider",
    "all_providers",
    "askable_providers",
    "get_provider_by_base_url",
    "get_provider_by_model",
    "get_provider_by_name",
    "known_providers",
    "openai_models",
    "openai_provider",
    "parasail_provider",
    "pick_provider",
]

openai_models: list[str]


def __getattr__(name: str) -> Any:
    """Make `openai_models` when it is asked for: the names come from the openai package, slow to import."""
    if name == "openai_models":
        from ._api import sdk_model_names

        return sdk_model_names()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def known_providers() -> dict[str, Provider]:
    """Return every provider by name, built in or from the configuration file, with its key where one is set.

    Raises ConfigError if the file is off.
    """
    from ._config import load

    return {name: _with_key(profile) for name, profile in load().profiles.items()}


def askable_providers() -> list[Provider]:
    """Return the providers that can be asked now: whose key is set, or needs no setting; the local one if it runs."""
    from .local import launch

    return [
        profile
        for profile in known_providers().values()
        if (launch.running() is not None if profile.is_local else profile.api_key or not profile.api_key_env_var)
    ]


def get_provider_by_name(name: str) -> Provider:
    """Return the provider called `name`, with its key from the environment.

    Raises UnknownProviderError (a ValueError) if there is none.
    """
    from ._config import load

    profiles = load().profiles
    if name not in profiles:
        raise UnknownProviderError(
            f"No provider found with name: {name}", hint=f"known providers: {', '.join(sorted(profiles))}"
        )
    return _with_key(profiles[name])


def get_provider_by_model(model: str) -> Provider:
    """Return the provider that serves `model`.

    A profile of the configuration file that claims the name comes first, then OpenAI for its own models and
    fine-tunes, then the local provider for its built-in model; any other name goes to Parasail.
    """
    from ._config import load

    settings = load()
    for name, profile in settings.profiles.items():
        if (name in settings.own or profile.is_local) and profile.claims(model):
            return _with_key(profile)
    return get_provider_by_name("openai" if is_openai_model(model) else "parasail")


def get_provider_by_base_url(base_url: str) -> Provider:
    """Return the provider at `base_url` (a str or a URL object), or a new one for an unknown place.

    As in 0.3.4 the key is left to the caller.
    """
    from ._config import load

    for profile in load().profiles.values():
        if profile.same_place(str(base_url)):
            return dataclasses.replace(profile)
    return Provider(base_url=str(base_url))


def _with_key(profile: Provider) -> Provider:
    """Return a copy that carries the key of the environment, as the copies of 0.3.4 did."""
    from ._config import key_from_environment

    return dataclasses.replace(profile, api_key=profile.api_key or key_from_environment(profile))


def _add_provider_arg(parser: argparse.ArgumentParser) -> None:
    """Add `-p/--provider` to a command of 0.3.4."""
    parser.add_argument("--provider", "-p", default=None, metavar="NAME", help="the provider, e.g. openai or parasail")


def _add_provider_args(parser: argparse.ArgumentParser) -> None:
    """Add `-p`, `--base-url` and `--api-key` to a command of 0.3.4."""
    _add_provider_arg(parser)
    parser.add_argument("--base-url", help="the API's base URL, instead of a known provider")
    parser.add_argument(
        "--api-key",
        help="the key; other users of this machine can see it here, so prefer the provider's environment variable",
    )


def _get_provider(args: argparse.Namespace) -> Provider | None:
    """Return the provider that `args` name, or None to let the model or the batch id decide.

    A key is never taken from another provider's variable: a bare `--base-url` needs `--api-key`,
    unless a known provider lives there.
    """
    name, base_url, key = args.provider, getattr(args, "base_url", None), getattr(args, "api_key", None)
    if base_url and not (name and get_provider_by_name(name).same_place(base_url)):
        known = get_provider_by_base_url(base_url)
        provider = _with_key(known) if known.name else known
        if name and not known.name:
            named = get_provider_by_name(name)
            provider = dataclasses.replace(named, base_url=base_url, api_key=None, api_key_env_var=None)
    elif name:
        provider = get_provider_by_name(name)
    elif key:
        provider = get_provider_by_name("openai")
    else:
        return None
    return dataclasses.replace(provider, api_key=key) if key else provider


def pick_provider(name: str | None, model: str | None) -> Provider:
    """Return the provider called `name`, else the configured default one, else the one that serves `model`.

    Raises UnknownProviderError, or UsageError if nothing tells.
    """
    from ._config import load

    chosen = name or load().default_provider
    if chosen:
        return get_provider_by_name(chosen)
    if model:
        return get_provider_by_model(model)
    raise UsageError("which provider?", hint="name it with -p; `obatch providers` shows them")
