"""How near the shadow price comes to the optimum of hindsight: the same day, known from the start, as an LP."""
