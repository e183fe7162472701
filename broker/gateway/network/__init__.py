"""What a gateway knows of the others and says to the hub beside messages: agreements, evidence, marks, votes."""
