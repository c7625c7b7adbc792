"""The feature: events written beside the application's own changes, fanned out to subscriptions, kept as a log."""
