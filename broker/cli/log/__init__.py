"""What is done to a log as files: an auditor's bundle, a copy, its end and the next beginning."""
