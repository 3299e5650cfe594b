"""What requests and results cost: tokens counted or estimated, prices, and amounts in USD.

It knows requests, results and provider profiles, but no jobs. Nothing here calls a provider.

Holds: the price of a model (`prices`), the tokens of requests (`tokens`), what requests can cost (`estimate`), what
results have cost (`receipt`), and amounts as text (`usd`).

May import: `results`, `providers`, and what is below them. Start reading at `estimate.py`.
"""
