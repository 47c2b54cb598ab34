# The part of libvirtaio that pmigd builds on.
import asyncio
from collections.abc import Callable
from typing import Any

class Callback:
    iden: int
    impl: virEventAsyncIOImpl
    cb: Callable[..., None]
    opaque: Any
    def __init__(
        self,
        impl: virEventAsyncIOImpl,
        cb: Callable[..., None],
        opaque: Any,
        *args: Any,
        **kwargs: Any,
    ) -> None: ...
    def close(self) -> None: ...

class Descriptor:
    def add_handle(self, callback: FDCallback) -> None: ...

class FDCallback(Callback):
    descriptor: Descriptor | None
    def __init__(
        self,
        impl: virEventAsyncIOImpl,
        cb: Callable[..., None],
        opaque: Any,
        *,
        descriptor: Descriptor | None,
        event: int,
    ) -> None: ...
    def update(self, event: int) -> None: ...

class virEventAsyncIOImpl:
    loop: asyncio.AbstractEventLoop
    callbacks: dict[int, Any]
    descriptors: dict[int, Descriptor]
    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None: ...
    def register(self) -> virEventAsyncIOImpl: ...
    def _pending_inc(self) -> None: ...
    def _pending_dec(self) -> None: ...
    def schedule_ff_callback(self, iden: int, opaque: Any) -> None: ...
    def _remove_handle(self, watch: int) -> int: ...
