"""What only `development.reload` needs: watching files, and showing why what was saved does not serve."""
