"""What every benchmark shares: a stage to measure on, an eye on the API server, figures with bars."""
