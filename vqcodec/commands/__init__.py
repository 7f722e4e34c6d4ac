"""The commands, each options -> one call of api, convert, batch, bench or train -> a report."""
