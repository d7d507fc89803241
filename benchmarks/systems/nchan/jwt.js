// Verifies ?token=, a JWT of HS256, as "granted" or "".
import crypto from "crypto";

const SECRET = process.env.JWT_SECRET;

function granted(request) {
  const parts = String(request.args.token).split(".");
  if (parts.length !== 3) return "";
  const signature = crypto.createHmac("sha256", SECRET)
    .update(`${parts[0]}.${parts[1]}`).digest("base64url");
  if (signature !== parts[2]) return "";
  const header = JSON.parse(Buffer.from(parts[0], "base64url"));
  const claims = JSON.parse(Buffer.from(parts[1], "base64url"));
  return header.alg === "HS256" && claims.sub && claims.exp * 1000 > Date.now() ? "granted" : "";
}

export default { granted };
