"""Compiled loops over pixels: visible triangles to colours, layers of hair over them, the final picture."""

import numpy as np
from numba import njit

SKIN, GARMENT, TONGUE, TEETH, EYE = range(5)
"""Materials of the opaque triangles."""

# By material: how far light wraps around the edge, strength and sharpness of the highlight.
_WRAP = np.array([0.25, 0.15, 0.05, 0.05, 0.05], np.float32)
_SPECULAR = np.array([0.06, 0.0, 0.15, 0.2, 0.54], np.float32)
_SHININESS = np.array([18, 1, 30, 60, 180], np.float32)

_SHADOW_BIAS = np.float32(0.05)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _bilinear(image, x, y):
    """The first three channels at pixel coordinates (pixel centres are whole numbers)."""
    x = min(max(x, np.float32(0)), np.float32(image.shape[1] - 1.001))
    y = min(max(y, np.float32(0)), np.float32(image.shape[0] - 1.001))
    i, j = int(x), int(y)
    fx, fy = x - np.float32(i), y - np.float32(j)
    p, q = (1 - fx) * (1 - fy), fx * (1 - fy)
    r, s = (1 - fx) * fy, fx * fy
    return (
        image[j, i, 0] * p + image[j, i + 1, 0] * q + image[j + 1, i, 0] * r + image[j + 1, i + 1, 0] * s,
        image[j, i, 1] * p + image[j, i + 1, 1] * q + image[j + 1, i, 1] * r + image[j + 1, i + 1, 1] * s,
        image[j, i, 2] * p + image[j, i + 1, 2] * q + image[j + 1, i, 2] * r + image[j + 1, i + 1, 2] * s,
    )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _textured(texture, u, v):
    height, width = texture.shape[0], texture.shape[1]
    half = np.float32(0.5)
    return _bilinear(texture, u * width - half, (1 - v) * height - half)


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _lit(shadow, x, y, z):
    """The share of light that arrives at a point of the shadow map, softened over nine samples."""
    size = shadow.shape[0]
    if x < 0 or y < 0 or x >= size or y >= size:
        return np.float32(1)
    count = np.float32(0)
    for oy in (-1.3, 0.0, 1.3):
        for ox in (-1.3, 0.0, 1.3):
            i = min(max(int(x + ox), 0), size - 1)
            j = min(max(int(y + oy), 0), size - 1)
            if shadow[j, i] < z + _SHADOW_BIAS:
                count += 1
    return count / 9


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _shares(screen, i, j, k, x, y):
    """The shares of a triangle's three points in the middle of pixel x, y."""
    x2, y2 = screen[k, 0], screen[k, 1]
    area = (screen[j, 1] - y2) * (screen[i, 0] - x2) + (x2 - screen[j, 0]) * (screen[i, 1] - y2)
    px, py = x + np.float32(0.5) - x2, y + np.float32(0.5) - y2
    a = ((screen[j, 1] - y2) * px + (x2 - screen[j, 0]) * py) / area
    b = ((y2 - screen[i, 1]) * px + (screen[i, 0] - x2) * py) / area
    return a, b, 1 - a - b


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _mixed(values, i, j, k, a, b, c):
    """The three values at three points, mixed by their shares."""
    return (
        a * values[i, 0] + b * values[j, 0] + c * values[k, 0],
        a * values[i, 1] + b * values[j, 1] + c * values[k, 1],
        a * values[i, 2] + b * values[j, 2] + c * values[k, 2],
    )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _unit(x, y, z):
    length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-9)
    return x / length, y / length, z / length


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _affine(rows, x, y, z):
    return (
        rows[0, 0] * x + rows[0, 1] * y + rows[0, 2] * z + rows[0, 3],
        rows[1, 0] * x + rows[1, 1] * y + rows[1, 2] * z + rows[1, 3],
        rows[2, 0] * x + rows[2, 1] * y + rows[2, 2] * z + rows[2, 3],
    )


@njit(cache=True, fastmath=True, nogil=True, inline="always")
def _facing_out(nx, ny, nz):
    """A softened normal for the inside of the mouth, whose own are too ragged at this size."""
    half = np.float32(0.5) if nz >= 0 else np.float32(-0.5)
    return _unit(nx * half, ny * half, nz * half + np.float32(0.6))


@njit(cache=True, fastmath=True, nogil=True)
def _albedo(albedo, kind, u, v, skin, skin_gain, teeth, eye, plain):
    """Put a material's own colour into `albedo`."""
    if kind == SKIN:
        red, green, blue = _textured(skin, u, v)
        albedo[0], albedo[1], albedo[2] = red * skin_gain[0], green * skin_gain[1], blue * skin_gain[2]
    elif kind == TEETH:
        albedo[0], albedo[1], albedo[2] = _textured(teeth, u, v)
    elif kind == EYE:
        albedo[0], albedo[1], albedo[2] = _textured(eye, u, v)
    else:
        albedo[:] = plain[kind - 1]


@njit(cache=True, fastmath=True, nogil=True)
def _shine(lamp, kind, nx, ny, nz):
    """The highlight that the lamp draws for a viewer in front."""
    hx, hy, hz = _unit(lamp[0, 0], lamp[0, 1], lamp[0, 2] + np.float32(1))
    return _SPECULAR[kind] * max(nx * hx + ny * hy + nz * hz, np.float32(0)) ** _SHININESS[kind]


@njit(cache=True, fastmath=True, nogil=True)
def _colour(pixel, albedo, lamp, kind, nx, ny, nz, lit, hollow):
    """Light a point: the lamp's direct light and highlight, the sky's, and a rim of light from behind."""
    dx, dy, dz = lamp[0]
    seen = lit * (hollow * np.float32(0.5) + np.float32(0.5))
    facing = nx * dx + ny * dy + nz * dz
    sky = (np.float32(0.75) + np.float32(0.25) * ny) * hollow
    rim = max(-dx * nx + np.float32(0.1) * ny + np.float32(0.6) * nz, np.float32(0))
    rim *= np.float32(0.12) * hollow
    shine = _shine(lamp, kind, nx, ny, nz) * seen
    for channel in range(3):
        wrap = _WRAP[kind]
        if kind == SKIN and channel == 0:  # red light travels furthest under the skin
            wrap *= np.float32(1.6)
        direct = max((facing + wrap) / (1 + wrap), np.float32(0)) * seen
        light = lamp[2, channel] * sky + lamp[1, channel] * direct + rim
        pixel[channel] = albedo[channel] * light + shine * lamp[1, channel]
    pixel[3] = 1


@njit(cache=True, fastmath=True, nogil=True)
def shade(ids, screen, points, normal, triangles, uv, material, surface, skin, skin_gain, teeth, eye, plain,
          folds, axes, shadow, shadow_axes, open_sky, lamp, image):  # fmt: skip
    """Colour every covered pixel of `image` (linear, alpha last) with the triangle that covers it.

    Args:
        surface: Where each point lies on `folds`, in its pixels, and above 0 where the garment covers it.
        plain: Linear colours of garment and tongue.
        folds: Darkness of the skin's folds and its slopes in x and y, over the front of the face.
        axes: The head's x and y axis as the camera sees them.
        shadow: Nearness to the lamp, as the lamp sees it.
        shadow_axes: The shadow map's x, y and nearness for a point, each an affine row of four.
        open_sky: Result of `openness`.
        lamp: Direction to the lamp; its colour; the ambient colour.
    """
    albedo = np.empty(3, np.float32)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            t = ids[y, x]
            if t < 0:
                continue
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            a, b, c = _shares(screen, i, j, k, x, y)
            nx, ny, nz = _mixed(normal, i, j, k, a, b, c)
            wx, wy, wz = _mixed(points, i, j, k, a, b, c)
            fold_x, fold_y, cover = _mixed(surface, i, j, k, a, b, c)
            u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
            v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
            kind = np.int64(material[t])
            if kind == SKIN and cover > 0:
                kind = GARMENT
            hollow = open_sky[min(y >> 1, open_sky.shape[0] - 1), min(x >> 1, open_sky.shape[1] - 1)]
            _albedo(albedo, kind, u, v, skin, skin_gain, teeth, eye, plain)
            if kind == SKIN and fold_x > 0:
                dark, sx, sy = _bilinear(folds, fold_x, fold_y)
                hollow *= 1 - dark
                nx += sx * axes[0, 0] + sy * axes[1, 0]
                ny += sx * axes[0, 1] + sy * axes[1, 1]
                nz += sx * axes[0, 2] + sy * axes[1, 2]
            nx, ny, nz = _unit(nx, ny, nz)
            in_mouth = kind in (TONGUE, TEETH)
            if in_mouth:
                nx, ny, nz = _facing_out(nx, ny, nz)
            off = np.float32(0.03)
            sx, sy, sz = _affine(shadow_axes, wx + nx * off, wy + ny * off, wz + nz * off)
            lit = _lit(shadow, sx, sy, sz)
            if in_mouth:
                lit = np.float32(0.45) + np.float32(0.55) * lit
                hollow = np.float32(0.55) + np.float32(0.45) * hollow
            _colour(image[y, x], albedo, lamp, kind, nx, ny, nz, lit, hollow)


@njit(cache=True, fastmath=True, nogil=True)
def overlay(screen, triangles, order, uv, normal, texture, tint, shine, bias, lamp, depth, image):
    """Lay half-transparent triangles over the image, from the farthest (first in `order`) to the nearest.

    `bias` is how far behind the surface a triangle may lie and still be seen.
    """
    height, width = depth.shape
    rows, columns = texture.shape[0], texture.shape[1]
    for n in range(order.shape[0]):
        t = order[n]
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, z0 = screen[i]
        x1, y1, z1 = screen[j]
        x2, y2, z2 = screen[k]
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if abs(area) < 1e-9:
            continue
        left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, width)
        top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, height)
        for y in range(top, bottom):
            for x in range(left, right):
                px, py = x + np.float32(0.5) - x2, y + np.float32(0.5) - y2
                a = ((y1 - y2) * px + (x2 - x1) * py) / area
                b = ((y2 - y0) * px + (x0 - x2) * py) / area
                c = 1 - a - b
                if a < 0 or b < 0 or c < 0 or a * z0 + b * z1 + c * z2 < depth[y, x] - bias:
                    continue
                u = a * uv[t, 0, 0] + b * uv[t, 1, 0] + c * uv[t, 2, 0]
                v = a * uv[t, 0, 1] + b * uv[t, 1, 1] + c * uv[t, 2, 1]
                column = min(max(int(u * columns), 0), columns - 1)
                row = min(max(int((1 - v) * rows), 0), rows - 1)
                alpha = texture[row, column, 3]
                if alpha < 0.02:
                    continue
                nx = a * normal[i, 0] + b * normal[j, 0] + c * normal[k, 0]
                ny = a * normal[i, 1] + b * normal[j, 1] + c * normal[k, 1]
                nz = a * normal[i, 2] + b * normal[j, 2] + c * normal[k, 2]
                length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6)
                facing = abs(nx * lamp[0, 0] + ny * lamp[0, 1] + nz * lamp[0, 2]) / length
                gloss = shine * facing**12
                rest = 1 - alpha
                for ch in range(3):
                    light = lamp[2, ch] * (np.float32(0.75) + np.float32(0.25) * ny / length)
                    light += lamp[1, ch] * (np.float32(0.2) + np.float32(0.55) * facing)
                    colour = texture[row, column, ch] * tint[ch] * (light + gloss * lamp[1, ch])
                    image[y, x, ch] = image[y, x, ch] * rest + alpha * colour
                image[y, x, 3] = image[y, x, 3] * rest + alpha


@njit(cache=True, fastmath=True, nogil=True)
def resolve(image):
    """Average blocks of 2 x 2 pixels, each clipped to what a screen can show."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    result = np.empty((height, width, 4), np.float32)
    for y in range(height):
        for x in range(width):
            for c in range(4):
                result[y, x, c] = np.float32(0.25) * (
                    min(image[2 * y, 2 * x, c], np.float32(1))
                    + min(image[2 * y, 2 * x + 1, c], np.float32(1))
                    + min(image[2 * y + 1, 2 * x, c], np.float32(1))
                    + min(image[2 * y + 1, 2 * x + 1, c], np.float32(1))
                )
    return result
