"""From predictions to scores: how much does an image speak against its annotated pose, compared with others?

Enters: for each image and head (azimuth, elevation, in-plane angle), the distribution over bins that its annotation asks for and
those that held-out models predicted. Leaves: robust standard deviations above what is usual in the image's fold, for each head
and combined; high is suspect. Unlike in the official code, heads from which nothing was learned are left out, folds are brought
to one scale, since no two of them are judged by the same models, and what counts is how much less likely the image makes its
annotation than the poses of the training images alone do: models that have seen few images from below are surprised by every one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.verdict.targets import AZIMUTH

Floats = NDArray[np.float64]

LEAST_SKILL = 0.1
"""A head is left out where its models explain less than this share of what the training poses alone leave open."""
SCALE_FLOOR = 0.25
"""The scale of a fold is at least so many nats, however alike its images are."""
POOLED = 10.0
"""The scale of all folds together counts as much as so many images of the fold's own."""
MAD_TO_SIGMA = 1.4826
"""A standard deviation of normally distributed values, in median absolute deviations."""


@dataclass(frozen=True, kw_only=True)
class Standardised:
    """Scores of N images; NaN where an image was not judged."""

    score: Floats
    """(N,) combined over the heads."""
    heads: Floats
    """(N, 3) of each head."""
    disagreement: Floats
    """(N,) standard deviation of the combined score among the models that judged an image."""
    weights: Floats
    """(3,) what each head is worth: its skill on held-out images, 0 where it is left out, at most 1."""
    against: Floats
    """(N,) nats, not standardised, so that whole folds can be compared: what all heads say against an image, by their weights."""


def standardise(
    wanted: Floats,
    members: Floats,
    prior: Floats,
    fold: NDArray[np.int64],
    varies: NDArray[np.bool_],
    turn_shows: NDArray[np.bool_],
) -> Standardised:
    """Return scores of N images from what held-out models predict of them.

    `wanted` (N, 3, bins): the distribution that an image's annotation asks for. `members` (M, N, 3, bins): what each of M models
    predicted. `prior` (N, 3, bins): what the poses of the training images alone let expect. `fold` (N,). `varies` (3,): whether a
    head's angle varies at all. `turn_shows` (N,): whether a turn of the object about its upright axis shows; where it does not,
    azimuth means nothing.
    """
    by_pose, by_image = _divergence(wanted, prior), _divergence(wanted, members.mean(axis=0))
    skill = 1.0 - _median(by_image, turn_shows) / np.maximum(_median(by_pose, turn_shows), 1e-9)
    weights = np.where(varies & (skill >= LEAST_SKILL), np.clip(skill, 0.0, 1.0), 0.0)
    against = by_image - by_pose
    usual, scale = _usual(against, fold, turn_shows)
    by_member = _divergence(wanted, members) - by_pose
    # Where azimuth means nothing, an image counts as usual for its fold.
    usual[~turn_shows, AZIMUTH] = by_member[:, ~turn_shows, AZIMUTH] = against[~turn_shows, AZIMUTH]
    heads = np.where(weights > 0, (against - usual) / scale, 0.0)
    combination = weights / (float(np.linalg.norm(weights)) or 1.0)
    judged = np.tile(weights > 0, (len(wanted), 1))
    judged[~turn_shows, AZIMUTH] = False
    by_any = judged.any(axis=1)
    return Standardised(
        score=np.where(by_any, heads @ combination, np.nan),
        heads=np.where(judged, heads, np.nan),
        disagreement=np.where(by_any, (((by_member - usual) / scale) @ combination).std(axis=0), np.nan),
        weights=weights,
        against=against @ weights,
    )


def fold_shift(against: Floats, inside: NDArray[np.bool_]) -> float:
    """Return how far the median of some images lies above that of all, in robust standard deviations."""
    middle = np.median(against)
    scale = max(MAD_TO_SIGMA * float(np.median(np.abs(against - middle))), SCALE_FLOOR)
    return float(np.median(against[inside]) - middle) / scale


def _divergence(wanted: Floats, predicted: Floats) -> Floats:
    """Return the Kullback-Leibler divergence of each head in nats: cross-entropy less what no prediction could avoid."""
    unavoidable = (wanted * np.log(np.maximum(wanted, 1e-12))).sum(axis=-1)
    divergence: Floats = unavoidable - (wanted * np.log(predicted)).sum(axis=-1)
    return divergence


def _median(values: Floats, turn_shows: NDArray[np.bool_]) -> Floats:
    """Return the median of each head; of azimuth over the images whose turn_shows show, 0 where there are none."""
    middle: Floats = np.median(values, axis=0)
    middle[AZIMUTH] = np.median(values[turn_shows, AZIMUTH]) if turn_shows.any() else 0.0
    return middle


def _usual(against: Floats, fold: NDArray[np.int64], turn_shows: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return, for each image and head, its fold's median and robust scale; small folds lean on the scale of all."""
    middle, squared = np.empty_like(against), np.empty_like(against)
    for held in np.unique(fold):
        inside = fold == held
        middle[inside] = _median(against[inside], turn_shows[inside])
    away = np.abs(against - middle)
    pooled = MAD_TO_SIGMA * _median(away, turn_shows)
    for held in np.unique(fold):
        inside = fold == held
        own, images = MAD_TO_SIGMA * _median(away[inside], turn_shows[inside]), int(inside.sum())
        squared[inside] = (images * own**2 + POOLED * pooled**2) / (images + POOLED)
    return middle, np.maximum(np.sqrt(squared), SCALE_FLOOR)
