using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Kms.Client.Protocol;

/// <summary>Standard base64 (RFC 4648, section 4), canonical, with padding; anything else is refused.</summary>
internal static class CanonicalBase64
{
    private const int StackLimit = 1024;

    public static byte[] Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            throw Refused();
        }

        int bound = reader.HasValueSequence ? checked((int)reader.ValueSequence.Length) : reader.ValueSpan.Length;
        byte[]? pinned = bound <= StackLimit ? null : GC.AllocateUninitializedArray<byte>(bound, pinned: true);
        Span<byte> text = pinned ?? stackalloc byte[StackLimit];
        try
        {
            return Decode(text[..reader.CopyString(text)]);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(text);
        }
    }

    private static byte[] Decode(ReadOnlySpan<byte> text)
    {
        if (text.Length % 4 != 0)
        {
            throw Refused();
        }

        int padding = text.EndsWith("=="u8) ? 2 : text.EndsWith("="u8) ? 1 : 0;
        byte[] bytes = GC.AllocateUninitializedArray<byte>((text.Length / 4 * 3) - padding, pinned: true);
        if (Base64.DecodeFromUtf8(text, bytes, out int consumed, out int written) != OperationStatus.Done
            || consumed != text.Length || written != bytes.Length || !IsCanonical(text, bytes, padding))
        {
            CryptographicOperations.ZeroMemory(bytes);
            throw Refused();
        }

        return bytes;
    }

    /// <summary>The bits that padding leaves over must be zero: encoding the last group again gives the same text.</summary>
    private static bool IsCanonical(ReadOnlySpan<byte> text, ReadOnlySpan<byte> bytes, int padding)
    {
        if (padding == 0)
        {
            return true;
        }

        Span<byte> again = stackalloc byte[4];
        ReadOnlySpan<byte> lastGroup = bytes[^(3 - padding)..];
        return Base64.EncodeToUtf8(lastGroup, again, out _, out int length) == OperationStatus.Done
            && text[^4..].SequenceEqual(again[..length]);
    }

    private static JsonException Refused() => new("Standard base64 with padding is expected.");
}

internal sealed class Base64Converter : JsonConverter<byte[]>
{
    public override byte[] Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        CanonicalBase64.Read(ref reader);

    public override void Write(Utf8JsonWriter writer, byte[] value, JsonSerializerOptions options) =>
        writer.WriteBase64StringValue(value);
}

internal sealed class SensitiveBytesConverter : JsonConverter<SensitiveBytes>
{
    public override SensitiveBytes Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        byte[] bytes = CanonicalBase64.Read(ref reader);
        try
        {
            return new SensitiveBytes(bytes);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(bytes);
        }
    }

    public override void Write(Utf8JsonWriter writer, SensitiveBytes value, JsonSerializerOptions options) =>
        writer.WriteBase64StringValue(value.AsSpan());
}

/// <summary>RFC 3339 in UTC with milliseconds.</summary>
internal sealed class TimestampConverter : JsonConverter<DateTimeOffset>
{
    private const string Format = "yyyy-MM-dd'T'HH:mm:ss.fff'Z'";

    public override DateTimeOffset Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && DateTimeOffset.TryParseExact(
            reader.GetString(), Format, CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out DateTimeOffset value)
            ? value
            : throw new JsonException("A time such as 2026-11-23T05:42:00.000Z is expected.");

    public override void Write(Utf8JsonWriter writer, DateTimeOffset value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToUniversalTime().ToString(Format, CultureInfo.InvariantCulture));
}
