"""Many calls in one statement: coalescing, bisection down to the culprit, and a lane for locked rows."""
