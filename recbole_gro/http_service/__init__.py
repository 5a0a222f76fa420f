"""A defended model as an HTTP service: API keys, budgets, rate limits, an access log. Starlette and uvicorn are in the
extra `serve` and imported by `app` and `process` alone."""
