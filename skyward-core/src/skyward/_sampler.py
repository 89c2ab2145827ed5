"""``DistributedSampler``: the indices of a dataset that this node works on, epoch by epoch."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

from skyward._instance import world
from skyward._shard import permutation
from skyward.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

__all__ = ["DistributedSampler"]


class DistributedSampler:
    """Divides the indices of ``dataset`` among the nodes of a pool, for a torch ``DataLoader`` or a plain loop.

    It follows the rules of ``torch.utils.data.DistributedSampler``, without needing torch. All replicas draw one order
    of all indices, anew for each epoch if ``shuffle``; replica ``rank`` takes every ``num_replicas``-th of it, from
    its own rank on. So that all replicas make equally many steps, the order is first filled up with its own beginning
    (some indices then come twice), or with ``drop_last`` cut at its end (some then do not come at all).

    ``num_replicas`` and ``rank`` are by default the number of nodes and this node's index; in a function that runs
    together with others, the size of the group and this one's rank; and 1 and 0 in a process that is not part of a
    pool. The order of an epoch depends on ``seed + epoch`` alone. It is drawn as ``shard`` draws
    its order, not as torch does. Call ``set_epoch`` before each epoch, else all epochs have the order of epoch 0.

    ``len()`` is the number of indices per replica. Raises ``ConfigurationError`` for a rank that is no replica's, and
    ``TypeError`` for a dataset without a length.
    """

    def __init__(  # noqa: PLR0917 -- torch's own signature
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,  # noqa: FBT001, FBT002 -- as above
        seed: int = 0,
        drop_last: bool = False,  # noqa: FBT001, FBT002 -- as above
    ) -> None:
        if not hasattr(dataset, "__len__"):
            raise TypeError(
                f"DistributedSampler() divides a dataset that has a length, and {type(dataset).__name__} "
                "has none: divide what it reads, for instance its files, by shard(...)"
            )
        node, nodes = world()
        self.dataset = dataset
        self.num_replicas = nodes if num_replicas is None else num_replicas
        self.rank = node if rank is None else rank
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0
        if self.num_replicas < 1:
            raise ConfigurationError(f"num_replicas={self.num_replicas}: there is at least one replica")
        if not 0 <= self.rank < self.num_replicas:
            raise ConfigurationError(
                f"rank={self.rank} is none of {self.num_replicas} replicas: "
                f"pass a rank from 0 to {self.num_replicas - 1}, or give num_replicas as well"
            )
        items = len(dataset)
        self.num_samples = items // self.num_replicas if drop_last else -(-items // self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        items = len(self.dataset)
        order = permutation(items, self.seed + self.epoch) if self.shuffle else range(items)
        # Going round and round the order both fills it up and cuts it; a dataset may be smaller than the pool.
        return islice(cycle(order), self.rank, self.total_size, self.num_replicas)

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration: pass the number of the epoch that begins, the same on every node."""
        self.epoch = epoch
