"""What every floor speaks: calls, replies, bodies, faults, time. Standard library only."""
