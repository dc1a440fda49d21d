"""The networks. A net knows its layers and its loss, nothing of files, schedules or serving."""
