// Shaders. Everything is lit from over the reader's left shoulder, darkens towards its rim, and pales with depth.

const FOG = `
uniform vec3 back; uniform vec2 depth; // colour of the background; distance of the middle, half depth of what is seen
vec3 pale(vec3 c, float z) { return mix(c, back, 0.34 * clamp((z - depth.x) / (2.0 * depth.y) + 0.5, 0.0, 1.0)); }`;

const LIGHT = `
uniform float perspective;
vec3 shine(vec3 base, vec3 n, vec3 at) {
  vec3 eye = perspective > 0.5 ? normalize(-at) : vec3(0.0, 0.0, 1.0), lamp = normalize(vec3(-0.5, 0.62, 0.95));
  float facing = clamp(dot(n, eye), 0.0, 1.0), lit = clamp((dot(n, lamp) + 0.4) / 1.4, 0.0, 1.0);
  float glint = max(dot(n, normalize(lamp + eye)), 0.0);
  for (int i = 0; i < 6; i++) glint *= glint; // to the 64th
  vec3 c = base * (0.36 + 0.72 * lit) + vec3(0.05) * (0.5 + 0.5 * n.y);
  return c * mix(0.55, 1.0, smoothstep(0.05, 0.5, facing)) + 0.20 * glint;
}`;

const HEAD = `precision highp float; uniform mat4 modelViewMatrix, projectionMatrix;`;

export const sphere = {
  vertexShader: `${HEAD}
in vec3 position; in vec4 center; in vec4 color; out vec3 n; out vec3 at; out vec4 paint;
void main() {
  vec4 mv = modelViewMatrix * vec4(center.xyz, 1.0);
  mv.xyz += center.w * position; n = position; at = mv.xyz; paint = color;
  gl_Position = projectionMatrix * mv;
}`,
  fragmentShader: `precision highp float; in vec3 n; in vec3 at; in vec4 paint; out vec4 result; ${FOG} ${LIGHT}
void main() { result = vec4(pale(shine(paint.rgb, normalize(n), at), -at.z), paint.a); }`,
};

// Rods: a shaft whose end may fade (along.w), and where \`head\` > 0 a cone on its end; what is nearer to the reader by less than `lift` does not hide it. shape = (cos, sin, stage): 0 start, 1 end of the shaft, 2 rim of the head, 3 tip.
export const rod = {
  vertexShader: `${HEAD} uniform float head, lift;
in vec3 position; in vec4 start; in vec4 along; in vec4 color; out vec3 n; out vec3 at; out vec4 paint;
void main() {
  vec3 a = (modelViewMatrix * vec4(start.xyz, 1.0)).xyz, v = (modelViewMatrix * vec4(along.xyz, 0.0)).xyz;
  float L = max(length(v), 1e-5), h = min(head, 0.55 * L), stage = position.z;
  vec3 w = v / L, u = normalize(abs(w.z) < 0.9 ? cross(w, vec3(0.0, 0.0, 1.0)) : cross(w, vec3(0.0, 1.0, 0.0))), s = cross(w, u);
  vec3 side = position.x * u + position.y * s;
  float wide = stage < 1.5 ? start.w : (stage < 2.5 ? 2.6 * start.w : 0.0), far = stage < 0.5 ? 0.0 : (stage < 2.5 ? L - h : L);
  n = stage < 1.5 ? side : normalize(side * h + w * 2.6 * start.w); at = a + w * far + side * wide; paint = vec4(color.rgb, stage < 0.5 ? color.a : color.a * along.w);
  gl_Position = projectionMatrix * vec4(at, 1.0);
  vec4 near = projectionMatrix * vec4(at.xy, at.z + lift, 1.0); gl_Position.z = near.z / near.w * gl_Position.w;
}`,
  fragmentShader: sphere.fragmentShader,
};

// Lines of a width in pixels, as quads turned to the reader. A trail's time is its frame; what is still to come is not drawn.
export const line = {
  vertexShader: `${HEAD} uniform vec2 pixels; uniform float width;
in vec3 position; in vec3 from; in vec3 to; in vec4 color; in vec4 span; out vec4 paint; out vec2 when; out float z;
void main() {
  vec4 p = modelViewMatrix * vec4(from, 1.0), q = modelViewMatrix * vec4(to, 1.0), a = projectionMatrix * p, b = projectionMatrix * q;
  vec2 d = (b.xy / b.w - a.xy / a.w) * pixels; float L = length(d);
  vec2 across = L > 1e-6 ? vec2(-d.y, d.x) / L : vec2(0.0, 1.0);
  vec4 c = mix(a, b, position.y);
  c.xy += across * position.x * width / pixels * c.w;
  z = -mix(p.z, q.z, position.y); paint = color * vec4(1.0, 1.0, 1.0, mix(span.z, span.w, position.y)); when = vec2(mix(span.x, span.y, position.y), 0.0);
  gl_Position = c;
}`,
  fragmentShader: `precision highp float; uniform float now, memory; in vec4 paint; in vec2 when; in float z; out vec4 result; ${FOG}
void main() {
  float a = paint.a;
  if (memory > 0.0) { if (when.x > now + 1e-3) discard; a *= 0.16 + 0.74 * exp((when.x - now) / memory); }
  result = vec4(pale(paint.rgb, z), a);
}`,
};

// Rings that face the reader: the target, and the picked atom.
export const ring = {
  vertexShader: `${HEAD} uniform float lift;
in vec3 position; in vec4 center; in vec4 color; out vec2 at; out vec4 paint; out float size; out float z;
void main() {
  vec4 mv = modelViewMatrix * vec4(center.xyz, 1.0);
  mv.xyz += vec3(position.xy * center.w * 1.12, lift); at = position.xy * 1.12; paint = color; size = center.w; z = -mv.z;
  gl_Position = projectionMatrix * mv;
}`,
  fragmentShader: `precision highp float; uniform float scale, width; in vec2 at; in vec4 paint; in float size; in float z; out vec4 result; ${FOG}
void main() {
  float r = length(at), px = 1.0 / max(size * scale, 1.0), a = 1.0 - smoothstep(0.5 * width * px, (0.5 * width + 1.0) * px, abs(r - 1.0 + 0.5 * width * px));
  if (a < 0.01) discard;
  result = vec4(pale(paint.rgb, z), a * paint.a);
}`,
};

// Faces of polyhedra: flat triangles, translucent, those that look away from the reader darker.
export const facet = {
  vertexShader: `${HEAD}
in vec3 position; in vec3 p0; in vec3 p1; in vec3 p2; in vec3 normal; in vec4 color; out vec3 n; out vec3 at; out vec4 paint;
void main() {
  vec4 mv = modelViewMatrix * vec4(position.x < 0.5 ? p0 : position.x < 1.5 ? p1 : p2, 1.0);
  n = (modelViewMatrix * vec4(normal, 0.0)).xyz; at = mv.xyz; paint = color;
  gl_Position = projectionMatrix * mv;
}`,
  fragmentShader: `precision highp float; uniform float perspective; in vec3 n; in vec3 at; in vec4 paint; out vec4 result; ${FOG}
void main() {
  vec3 m = normalize(n), eye = perspective > 0.5 ? normalize(-at) : vec3(0.0, 0.0, 1.0), lamp = normalize(vec3(-0.5, 0.62, 0.95));
  float lit = clamp(0.5 + 0.5 * dot(m, lamp), 0.0, 1.0);
  vec3 c = paint.rgb * (dot(m, eye) > 0.0 ? 0.42 + 0.66 * lit : 0.5);
  result = vec4(pale(c, -at.z), paint.a);
}`,
};
