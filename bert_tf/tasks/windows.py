"""Overlapping windows over what is longer than a model reads at once."""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=4096)
def cut(length: int, room: int, stride: int) -> tuple[list[tuple[int, int]], list[np.ndarray]]:
  """Cuts a text of `length` pieces into windows of `room` that start `stride` apart.

  Returns:
    (start, length) of each window, and for each the mask of the pieces that no other window shows
    with more context. A piece's context is the number of pieces on its shorter side plus
    0.01 x the window's length; the first window wins a tie (the original's
    `_check_is_max_context`).
  """
  windows = []
  start = 0
  while start < length:
    windows.append((start, min(room, length - start)))
    if start + room >= length:
      break
    start += min(room, stride)
  best_score = np.full(length, -1.0)
  best_window = np.zeros(length, np.int64)
  for index, (start, size) in enumerate(windows):
    left = np.arange(size)
    score = np.minimum(left, left[::-1]) + 0.01 * size
    better = np.flatnonzero(score > best_score[start : start + size])
    best_score[start + better] = score[better]
    best_window[start + better] = index
  masks = [best_window[start : start + size] == i for i, (start, size) in enumerate(windows)]
  return windows, masks
