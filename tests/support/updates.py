"""The updates that the handlers of a page yield."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any

Update = dict[Any, Any]


def all_of(updates: AsyncIterable[Update]) -> list[Update]:
    """Return all updates."""

    async def collect() -> list[Update]:
        return [update async for update in updates]

    return asyncio.run(collect())


def last_of(updates: Iterable[Update]) -> Update:
    """Return the final value of every key."""
    return {key: value for update in updates for key, value in update.items()}


def shown(updates: AsyncIterable[Update]) -> Update:
    """Return what the page shows in the end."""
    return last_of(all_of(updates))
