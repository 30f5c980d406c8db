"""The rows of the table, by what they break. Importing a module puts its rows into the table, in this order."""

from . import checks, kills, stops, postgres, network, histories, store, operators, refusals, tasks, memory, clocks  # noqa: F401
