"""Ranks that watch each other: a rank that is lost ends the others with a message instead of leaving them waiting.

Every rank counts beats in the store of the rendezvous and reads those of the others. Work that one rank does alone may
take hours and is waited for as long as its beats arrive. They stop when the process ends or is frozen, when its machine
is lost, and when the network between them is. The store of torch is the one address that every rank can reach, so
nothing else has to be opened or configured.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

import torch.distributed as dist

from benchmark.core.errors import UserError

BEAT_S = 2.0
LOST_AFTER_S = 120.0  # longer than any call that keeps Python's other threads waiting
LEAVE_S = 10.0  # for the last answer of a store that is still there
_LEFT, _FAILED = "left", "failed"  # a rank's last words


class RankLost(UserError):
    """Another process of the run is gone."""

    exit_code = 1


class Heartbeat:
    """This rank's beats, and the watch over the others'. Threads run from the first moment until `stop`.

    session: a name that the ranks share and that no other group in this store has.
    Raises RuntimeError when the store cannot be reached.
    """

    def __init__(self, rank: int, world: int, session: str) -> None:
        self.rank, self.world = rank, world
        self.address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        # A connection of its own: torch's is locked while a collective operation waits for something in the store.
        self._store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=LOST_AFTER_S),
        )
        self._keys = [f"{session}/{r}" for r in range(world)]
        self._beats = [""] * world  # as last read
        self._silent = [0] * world  # how many of this rank's own looks found no new beat
        self._unreachable = ""  # what the store's last error said
        self._over = threading.Event()
        self._store.set(self._keys[rank], "0")
        # Two, because a call to the store of a machine that vanished may never return.
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._talk, self._watch)]
        for thread in self._threads:
            thread.start()
        # A daemon thread that wakes up inside torch while Python shuts down aborts the process.
        atexit.register(self.stop)

    def stop(self, failed: bool = False) -> None:
        """Say goodbye and end both threads. failed: this rank leaves because of an error of its own."""
        if self._over.is_set():
            return
        self._over.set()
        for thread in self._threads:
            thread.join(LEAVE_S)
        atexit.unregister(self.stop)
        if not self._threads[0].is_alive():
            with suppress(RuntimeError):  # rank 0, which may keep the store, has left already
                self._store.set(self._keys[self.rank], _FAILED if failed else _LEFT)

    def _talk(self) -> None:
        """Send a beat and read those of the others, again and again."""
        n = 0
        while not self._over.wait(BEAT_S):
            n += 1
            try:
                self._store.set(self._keys[self.rank], str(n))
                found = [beat.decode() for beat in self._store.multi_get(self._keys)]
            except RuntimeError as error:
                self._unreachable = str(error).splitlines()[0]
                continue
            self._unreachable = ""
            for r, beat in enumerate(found):
                if beat != self._beats[r]:
                    self._silent[r] = 0
                self._beats[r] = beat

    def _watch(self) -> None:
        """End this process when another has been silent for too long.

        Counted in looks of this thread, not in seconds: after a pause of its own it finds no rank missing.
        """
        while not self._over.wait(BEAT_S):
            lost = self._count()
            if lost:
                self._end(lost, f"nothing was heard from it for {LOST_AFTER_S:.0f} s")

    def _count(self) -> list[int]:
        """Look once; returns the ranks that were silent for `LOST_AFTER_S`. One that has left may be silent."""
        for r in range(self.world):
            if r != self.rank and self._beats[r] != _LEFT:
                self._silent[r] += 1
        return [r for r, looks in enumerate(self._silent) if looks * BEAT_S > LOST_AFTER_S]

    def end_after(self, error: Exception) -> NoReturn:
        """A collective operation has failed: end this process, and name the rank that broke it.

        Takes up to five beats, until the rank that is gone has missed three and the others have not.
        """
        gone: list[int] = []
        for _ in range(20):
            gone = [r for r in range(self.world) if self._silent[r] >= 3 or self._beats[r] in (_LEFT, _FAILED)]
            if gone:
                break
            time.sleep(BEAT_S / 4)
        self._end(gone, str(error).strip().splitlines()[0])

    def _end(self, lost: list[int], why: str) -> NoReturn:
        """Print what happened and leave at once: the main thread may wait inside torch, which nothing interrupts."""
        end_process(self._lost(lost, why))

    def _lost(self, lost: list[int], why: str) -> RankLost:
        ranks = f"{'ranks' if len(lost) > 1 else 'rank'} {', '.join(map(str, lost))}" if lost else "a rank"
        own = [r for r in lost if self._beats[r] == _FAILED]
        hint = "start all ranks again with the same command; the run resumes from its last checkpoint"
        if own:
            hint = f"see the error that rank {own[0]} printed, then {hint}"
        if self._unreachable:
            why = f"{why}; the rendezvous at {self.address} cannot be reached: {self._unreachable}"
        return RankLost(f"{ranks} of {self.world} lost; rank {self.rank} stops", why, hint)


def end_process(error: RankLost) -> NoReturn:
    """Print an error and end the process with its status, whatever its other threads wait for.

    Nothing is cleaned up, as after SIGKILL: checkpoints, artefacts and records are whole at any moment.
    """
    with suppress(OSError, ValueError):
        print(f"gantlet: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(error.exit_code)
