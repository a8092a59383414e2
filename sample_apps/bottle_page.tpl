<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Guest book</title>
<h1>Hello, {{name}}!</h1>
% if entries:
<ul>
% for author, text in entries:
  <li><b>{{author}}</b>: {{text}}</li>
% end
</ul>
% else:
<p>Nobody has written yet.</p>
% end
<form action="/entries" method="post">
  <label>Name <input name="name"></label>
  <label>Text <input name="text"></label>
  <button>Write</button>
</form>
</html>
