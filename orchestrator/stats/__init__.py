"""Pure mathematics: tests of wins, intervals, and the closed forms of sequences."""
