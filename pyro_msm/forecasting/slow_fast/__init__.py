"""Slow–fast systems: the forecaster of averaged dynamics, and what it is compared with."""
