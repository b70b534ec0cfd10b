"""From a residual to labelled and measured regions."""
