using System.Diagnostics;
using System.Security.Cryptography;

namespace Kms.Hsm.Tests;

/// <summary>SoftHSM runs in this process, and still: between calls a key's bytes are nowhere in it.</summary>
public sealed class TokenKeyMemoryTests : IDisposable
{
    private static readonly byte[] s_digest = SHA256.HashData("a message"u8);

    // PrivateKeyInfo { 0, { ecPublicKey, prime256v1 }, ECPrivateKey { 1, d } }.
    private static ReadOnlySpan<byte> BeforeScalar =>
    [
        0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
        0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20,
    ];

    private readonly byte[] _wrapKey = RandomNumberGenerator.GetBytes(32);
    private readonly Token _token = SoftHsm.Open();
    private readonly RootGenerationDescriptor _descriptor;
    private readonly PlantedKey _planted;
    private readonly RootGeneration _root;

    /// <summary>The wrap key is put there with a known value, so that keys with known values can be wrapped by it.</summary>
    public TokenKeyMemoryTests()
    {
        _descriptor = _token.CreateGeneration(1, SoftHsm.InstanceId);
        _planted = PlantedKey.InPlaceOf(_token, _descriptor, RootRole.Wrap, _wrapKey);
        byte[] check = KeyWrap.Wrap(_wrapKey, "kmsd/v1/check/wrap: thirty-two b"u8);
        _root = _token.OpenGeneration(_descriptor with { WrapCheck = check });
    }

    public void Dispose()
    {
        try
        {
            _planted.Dispose();
            _token.DestroyGeneration(_descriptor);
        }
        finally
        {
            _token.Dispose();
        }
    }

    [Theory]
    [InlineData(TokenKeyType.Aes256)]
    [InlineData(TokenKeyType.Rsa2048)]
    [InlineData(TokenKeyType.EcdsaP256)]
    public void Between_calls_the_bytes_of_a_key_are_nowhere_in_the_process(TokenKeyType type)
    {
        // As kmsd sees to for itself (Hosting/FreedMemory.cs): OpenSSL frees copies of RSA keys without overwriting them.
        Assert.True(
            Environment.GetEnvironmentVariable("GLIBC_TUNABLES")?.Contains("perturb", StringComparison.Ordinal) == true,
            "Run this by 'dotnet test', which takes GLIBC_TUNABLES from Properties/launchSettings.json.");
        (byte[] blob, MemorySearch search) = Known(type);
        Assert.Empty(search.Run());
        using TokenKey key = _root.UnwrapKey(type, blob, type == TokenKeyType.Aes256 ? "CKM_AES_KEY_WRAP" : "CKM_AES_KEY_WRAP_PAD");
        for (int i = 0; i < 10; i++)
        {
            Use(key);
        }

        Assert.Empty(search.Run());
    }

    [Fact]
    public void The_search_finds_a_key_that_is_there()
    {
        byte[] known = RandomNumberGenerator.GetBytes(32);
        MemorySearch search = new(known);
        using SecretBytes key = new(known);
        Assert.NotEmpty(search.Run());
    }

    private static void Use(TokenKey key)
    {
        switch (key.Type)
        {
            case TokenKeyType.Aes256:
                key.Decrypt(key.Encrypt("a text"u8, s_digest), s_digest, new byte[6]);
                break;
            case TokenKeyType.Rsa2048:
                _ = key.SignPss(s_digest);
                key.DecryptRaw(new byte[256], new byte[256]);
                break;
            default:
                _ = key.SignEcdsa(s_digest);
                break;
        }
    }

    /// <summary>A key that this test made, wrapped, and a search for a part of it that isn't public.</summary>
    private (byte[] Blob, MemorySearch Search) Known(TokenKeyType type)
    {
        byte[] value = GC.AllocateArray<byte>(2048, pinned: true);
        try
        {
            int length = Make(type, value);
            (int start, int end) = type switch
            {
                TokenKeyType.Aes256 => (0, 32),

                // Within the first prime of a PKCS#8 of 2048 bits.
                TokenKeyType.Rsa2048 => (620, 644),
                _ => (BeforeScalar.Length + 4, BeforeScalar.Length + 28),
            };
            MemorySearch search = new(value.AsSpan(start, end - start));
            ReadOnlySpan<byte> key = value.AsSpan(0, length);
            return (type == TokenKeyType.Aes256 ? KeyWrap.Wrap(_wrapKey, key) : KeyWrap.WrapPadded(_wrapKey, key), search);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(value);
        }
    }

    private static int Make(TokenKeyType type, Span<byte> value)
    {
        if (type == TokenKeyType.Aes256)
        {
            RandomNumberGenerator.Fill(value[..32]);
            return 32;
        }

        if (type == TokenKeyType.EcdsaP256)
        {
            // .NET exports it through arrays that the search would find: PrivateKeyInfo without the public key, and a scalar
            // that is below n because it begins with zero.
            BeforeScalar.CopyTo(value);
            RandomNumberGenerator.Fill(value.Slice(BeforeScalar.Length + 1, 31));
            return BeforeScalar.Length + 32;
        }

        return MakeRsa(value);
    }

    /// <summary>In a process of its own: OpenSSL leaves copies of a key that it makes in freed memory, which the search would find.</summary>
    private static int MakeRsa(Span<byte> value)
    {
        const string Make = "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | openssl pkcs8 -topk8 -nocrypt -outform DER";
        using Process openssl = Process.Start(new ProcessStartInfo("sh", ["-c", Make])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        int length = 0;
        for (int read; (read = openssl.StandardOutput.BaseStream.Read(value[length..])) > 0; length += read)
        {
        }

        openssl.WaitForExit();
        Assert.Equal(0, openssl.ExitCode);
        return length;
    }
}
