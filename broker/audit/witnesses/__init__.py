"""Who watches that the log only grows: monitors, countries, third parties."""
