"""Who waits for a value when the runtime is shut down."""

import asyncio
import threading

from patience import wait_until

from rllib import core
from rllib.core.exceptions import RuntimeClosedError


def test_whoever_awaits_hears_that_the_runtime_was_shut_down() -> None:
    core.init(num_cpus=1)
    started = threading.Event()

    @core.remote
    def forever() -> None:
        threading.Event().wait()

    async def main() -> None:
        started.set()
        await forever.remote()

    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            asyncio.run(main())
        except RuntimeClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    started.wait()
    future = forever.remote().future()
    wait_until(lambda: not future.done())
    core.shutdown()
    thread.join(10)
    assert len(outcome) == 1
    assert isinstance(future.exception(10), RuntimeClosedError)
