"""What requests and results cost: tokens counted or estimated, prices, and amounts in USD.

It knows requests, results and provider profiles, but no jobs. `prices.py` finds the price of a model, `tokens.py`
counts the tokens of requests, `estimate.py` says what requests can cost, and `receipt.py` what results have cost.
"""
