"""What an event sets off: identity, projections, journeys entered, exited and waited in, and the relay to Temporal."""
