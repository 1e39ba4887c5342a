"""One run in several processes: each computes its share of every batch, and all take the same steps."""

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as processes
from torch import Tensor, nn

from bijecta.errors import BijectaError, InputError
from bijecta.training.rows import Rows

Value = TypeVar("Value")


@dataclass(frozen=True)
class Team:
    """The processes of a run, seen from one of them; alone unless `join` found others.

    Gradients are averaged here and not by a wrapper around the flow: losses call what they like on the flow, such as
    ``sample_and_log_prob`` or the field of a continuous layer, and a wrapper sees only ``forward``.

    Attributes:
        rank: number of this process; 0 leads: it alone writes files and reports.
        size: how many processes there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def share(self, rows: Rows) -> tuple[Rows, float]:
        """Return this process's rows of a batch, and which fraction of the batch they are.

        With fewer rows than processes some get a row that counts nothing: all have to take part in every average.
        """
        if self.size == 1:
            return rows, 1.0
        index = torch.arange(len(rows), device=rows.device).tensor_split(self.size)[self.rank]
        return rows.take(index if len(index) else index.new_zeros(1)), len(index) / len(rows)

    def seed(self, seed: int) -> int:
        """Return a seed of this process's own: noise in a loss must differ between its rows and those of others."""
        return (seed + 6_700_417 * self.rank) % 2**63

    def average(self, loss: Tensor, weights: Sequence[nn.Parameter], fraction: float) -> Tensor:
        r"""Replace gradients and loss by their means over the whole batch, :math:`\sum_r \frac{n_r}{n} g_r`.

        Args:
            loss: mean over this process's rows.
            weights: what the gradients belong to.
            fraction: which part of the batch these rows are, as `share` says.

        Returns:
            The mean loss of the batch; equal in all processes, as are the gradients.
        """
        if self.size == 1:
            return loss
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = fraction * torch.cat([*(each.flatten() for each in gradients), loss.reshape(1).to(gradients[0])])
        with _lost_processes_named():
            processes.all_reduce(flat)
        for gradient, mean in zip(gradients, flat.split([*(each.numel() for each in gradients), 1]), strict=False):
            gradient.copy_(mean.view_as(gradient))
        return flat[-1].to(loss)

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, in order of their ranks."""
        values = [value] * self.size
        if self.size > 1:
            with _lost_processes_named():
                processes.all_gather_object(values, value)
        return values

    def agree(self, value: Value) -> Value:
        """Return the value of the process that leads; for what is read from a clock or decided by a hook."""
        return self.gather(value)[0]

    def begin_alike(self, module: nn.Module) -> None:
        """Give every process the weights and buffers of the one that leads."""
        if self.size > 1:
            with _lost_processes_named():
                for tensor in module.state_dict().values():
                    processes.broadcast(tensor, 0)

    def require_same(self, identity: Any) -> None:
        """Raise an InputError unless all processes were given the same data and settings."""
        if any(other != identity for other in self.gather(identity)):
            raise InputError(
                "The processes of this run have different rows or settings. Pass all rows to fit in every process: "
                "it takes a different share of each batch in each of them."
            )

    def leave(self) -> None:
        """Say good-bye to the other processes; nothing is averaged after that."""
        if self.size > 1 and processes.is_initialized():
            processes.destroy_process_group()


def join(device: torch.device) -> Team:
    """Join the processes that ``torchrun`` started, or those of a group that exists; alone where there are none.

    Args:
        device: where the flow lives: gloo connects CPUs, NCCL connects GPUs.

    Returns:
        The team.

    Raises:
        BijectaError: the other processes cannot be reached.
    """
    if not processes.is_available():
        return Team()
    if not processes.is_initialized():
        if not launched():
            return Team()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with _lost_processes_named():
            _meet("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Team(processes.get_rank(), processes.get_world_size())


def launched() -> bool:
    """Tell whether a launcher such as ``torchrun`` started several processes, by the variables that it sets."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return all(name in os.environ for name in names) and int(os.environ["WORLD_SIZE"]) > 1


def _meet(backend: str) -> None:
    from torch.distributed.rendezvous import rendezvous  # not in every build of torch

    store, rank, size = next(rendezvous("env://"))
    apart = processes.PrefixStore(_agree_on_a_word(store, rank, size), store)  # type: ignore[attr-defined]
    processes.init_process_group(backend, store=apart, rank=rank, world_size=size)


def _agree_on_a_word(store: Any, rank: int, size: int) -> str:
    """Agree on a word that no earlier life of these processes has used.

    torchrun keeps the store when it starts processes again, and with it the addresses of those that died. Process 0
    therefore offers a new word, and each other one waits until that is offered by a process 0 that knows of its
    present life.
    """
    word = secrets.token_hex(8)
    if rank == 0:
        store.set("leader", word)
        for other in range(1, size):
            store.set(f"{word}/{store.get(f'{word}/{other}').decode()}", "welcome")
        return word
    while True:
        leader = store.get("leader").decode()
        store.set(f"{leader}/{rank}", word)
        if store.check([f"{leader}/{word}"]):
            return leader
        time.sleep(0.02)


@contextmanager
def _lost_processes_named() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise BijectaError(
            "The connection to the other processes of this run is lost: one of them has ended, see its message. "
            "Started by torchrun with --max-restarts, the run goes on from its checkpoint."
        ) from error
