"""The demo shop: a plant nursery with customers, a catalogue, months of history and people who shop while you watch.

It is a program like any other that uses Perennial: it speaks HTTP and Segment's own client, and sees no database.
"""

from perennial.demo.process import run_demo

__all__ = ["run_demo"]
