"""Evidence that may be looked at after every pair: e-values, whose promise holds whenever one stops looking.

An e-value is a bet against "a pair is won with probability at most 1/2, whatever came before". Where that is true, the
e-value ever reaches 1/alpha with a chance of at most alpha (Ville's inequality). So whoever stops at 20 errs in at most
5 % of the questions, however often and for whatever reason they looked. A p-value has no such promise.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb

THRESHOLD = 20
"""Of a level of 5 %."""


def e_value(wins: int, losses: int) -> Fraction:
    """The evidence of so many wins and losses for a method that wins more often than not; ties are skipped.

    It is the likelihood ratio of a uniform mixture over winning probabilities from 1/2 to 1 to that of 1/2, which for
    n = wins + losses is 2^(n+1) B(w+1, l+1) (1 - I_1/2(w+1, l+1)), here exactly, by sums of binomials. Raises
    ValueError for counts below 0.

    >>> float(e_value(0, 0)), round(float(e_value(5, 0)), 2)
    (1.0, 10.5)
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins and {losses} losses: neither may be below 0")
    pairs = wins + losses
    tail = binomial = 1
    for at_most in range(wins):
        binomial = binomial * (pairs + 1 - at_most) // (at_most + 1)
        tail += binomial
    return Fraction(tail, (pairs + 1) * comb(pairs, wins))


class Evidence:
    """An e-value that grows pair by pair, each in a moment however many came before.

    >>> evidence = Evidence()
    >>> for won in (True, True, False):
    ...     evidence.add(won)
    >>> evidence.e == float(e_value(2, 1))
    True
    """

    __slots__ = ("_binomial", "_tail", "losses", "wins")

    def __init__(self) -> None:
        self.wins = self.losses = 0
        # For n pairs: C(n + 1, wins), and the sum of the C(n + 1, k) for k up to the wins.
        self._binomial = self._tail = 1

    @property
    def pairs(self) -> int:
        """Ties do not count."""
        return self.wins + self.losses

    @property
    def e(self) -> float:
        """The e-value, correctly rounded."""
        return self._tail / (self._binomial * (self.losses + 1))

    def add(self, won: bool) -> None:
        row = self.pairs + 2
        self._tail = 2 * self._tail - self._binomial  # Pascal's rule, summed
        self._binomial = self._binomial * row // (row - self.wins)
        if won:
            self._binomial = self._binomial * (row - self.wins) // (self.wins + 1)
            self._tail += self._binomial
            self.wins += 1
        else:
            self.losses += 1
