"""One file a technique; ORDER says which comes first and why.

Rules: code orders, a profile picks. Two more stand behind them for everyone, at the price of one comparison:
several choices (`n`) and ranking, because they are what a format promises and no technique.
"""

ORDER = (
    "cache",  # first: what is answered already needs nothing of what follows
    "context",  # before the cascade, so that the small model gets what fits its window
    "cascade",  # its calls may be packed with those of others
    "batching",  # last: it packs what is really to be sent
)
