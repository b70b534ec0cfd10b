"""The networks and statistical models that learn what good material looks like."""
