"""What tests stand on: real services, invented people, no mocks."""
