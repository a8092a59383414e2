-- For wrk: no two requests are the same. The path's query, a cookie and a request's number differ each time, as with
-- real clients; a server that remembers whole heads gains nothing.
local number = 0
local head, tail

function init(_)
  local lines = {}
  for name, value in pairs(wrk.headers) do
    if name ~= "Cookie" then
      lines[#lines + 1] = name .. ": " .. value
    end
  end
  tail = "\r\n" .. table.concat(lines, "\r\n") .. "\r\n\r\n"
  head = "GET /?page="
end

function request()
  number = number + 1
  return head .. number .. " HTTP/1.1\r\nCookie: sessionid=0123456789abcdef" .. number .. "; theme=dark" .. tail
end
