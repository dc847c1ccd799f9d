"""Turns the records of trials into numbers: errors, wins, increases, curves, fronts."""
