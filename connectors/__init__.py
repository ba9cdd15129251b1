"""One file for each outside system: e-mail providers, the renderer, webhooks."""
