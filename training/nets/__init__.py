"""The networks. A net has layers and a loss; it knows no files, schedules or serving."""
