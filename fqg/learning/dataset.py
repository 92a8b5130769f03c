"""Labelled situations for training: the arrays of a shard, and batches made of them.

A shard is one compressed `.npz` of L levels and S labelled situations. Rows of levels of differing
size lie one after the other (ragged), in the order of the levels; the offsets follow from
`functions` and `facts`. Level l has N = functions[l] functions and F = facts[l] facts.

| array          | type, shape         | meaning |
|----------------|---------------------|---------|
| `functions`    | int32 [L]           | N of each level, 1 to 128 |
| `facts`        | int32 [L]           | F of each level, 1 to 192 |
| `seed`         | int64 [L]           | what the level was made from: split by range (see below) |
| `kind`         | str   [L]           | the maker's name of its kind, such as `carrying` or `failures` |
| `optimum`      | float32 [L]         | (expected) cost of best play from the start; NaN: unknown |
| `cap`          | float32 [L]         | what giving up costs |
| `skip`         | float32 [L]         | what a skip costs |
| `edges`        | int16 [E, 4]        | level, relation (0 pre, 1 add, 2 delete), function, fact |
| `alternatives` | int16 [A, 3]        | level, function, the function that it can stand in for |
| `cost`         | float32 [sum N]     | of a call |
| `optional`     | bool  [sum N]       | |
| `known`        | int32 [sum N, 2]    | earlier calls and failures that every player is shown |
| `init`, `goal` | bool  [sum F]       | |
| `level`        | int32 [S]           | the level of each situation; ascending |
| `state`        | uint8 [S, W]        | `np.packbits(true facts, bitorder="little")`, W = ceil(max F / 8) |
| `waived`       | uint8 [S, W]        | the same, of the facts that skips have waived |
| `tallies`      | int32 [T, 6]        | situation, function, calls, successes, failures in a row, last error |
|                |                     | (0 to 4); rows only of functions that have been called |
| `q`            | float32 [sum 2N+1]  | per situation and action (calls, skips, give up): (expected) |
|                |                     | cost from here on if it is taken and all later play is best, |
|                |                     | own cost included, never above `cap`; NaN where it is illegal |

A situation that cannot be won any more has `cap` everywhere. Which actions are best follows from
`q`: those within 1e-4 of the smallest. Deterministic levels have T = 0 and `waived` all zero.

Splits: training seeds are below 2^31, validation seeds from 2^31, test seeds from 2^32; a shard
holds seeds of one split only, and its file is named `SPLIT-NUMBER.npz`, such as `train-0003.npz`.
"""
